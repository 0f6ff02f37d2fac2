"""The vllm engine: vLLM schedules, computes and samples; templates, stop strings and text are ours."""
