"""Features -> predictions: splits that all heads share, stacked training, one plug-in a strategy."""
