"""Networks of VBench's dimensions: each is a function of tensors that loads the public checkpoint by its own keys."""
