"""Where stages get the time. A resource and not a call, so that a run can be told again with the time it had."""

from vllm_flow.clocks.fixed import Fixed, FixedClock
from vllm_flow.clocks.system import System, SystemClock

__all__ = ["Fixed", "FixedClock", "System", "SystemClock"]
