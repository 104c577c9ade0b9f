"""HaMeR's training tars."""
