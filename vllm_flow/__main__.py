"""`python -m vllm_flow` is `vllm-flow`."""

from vllm_flow.cli import main

raise SystemExit(main())
