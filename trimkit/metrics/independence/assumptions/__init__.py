"""The assumptions of linear ICA, one module each, for `trimkit.metrics.independence.check_ica`."""
