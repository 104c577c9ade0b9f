"""Fitting the hand model to keypoints: kinematics, residuals, closed-form start, batched solver."""
