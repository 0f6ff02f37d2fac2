"""What `vllm-flow ls` knows: the names there are, and what is to be told of each."""
