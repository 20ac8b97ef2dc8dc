"""The lab: what `softplus compare`, `softplus bench` and `softplus table` measure and show."""
