"""Training: settings, loss, schedule, checkpoints and one visible loop."""
