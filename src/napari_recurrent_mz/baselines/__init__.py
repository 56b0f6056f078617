"""Methods to hold the network against."""
