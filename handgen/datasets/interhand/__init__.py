"""InterHand2.6M."""
