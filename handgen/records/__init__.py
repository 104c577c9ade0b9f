"""Values that stages exchange: detections, annotation records, labelled pictures."""
