"""All cases, in the order in which each repetition takes them."""
