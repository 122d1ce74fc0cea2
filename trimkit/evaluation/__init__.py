"""What a run or an encoder is worth: codes, samples and components beside their baselines."""
