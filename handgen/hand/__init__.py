"""The hand model: joint layouts, model files, kinematics and skinning."""
