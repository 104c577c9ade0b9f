"""MediaPipe's hand networks with handgen's own search and tracking."""
