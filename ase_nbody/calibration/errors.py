"""Error of calibration."""


class CalibrationError(ValueError):
    """The structures at hand cannot say how uncertain a model is."""
