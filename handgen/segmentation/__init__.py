"""A hand's pixels in a picture: masks, mattes and crops."""
