"""What exists and under which name: samples, identity, features, encoders, predictions."""
