"""Languages: what a Whisper is asked for, by code or by English name, and what it cannot do, in words."""

from __future__ import annotations

from vllm_flow.core.errors import EngineError, listed, nearest
from vllm_flow.core.transcripts import Task
from vllm_flow.transcribers.loading import Loaded

ENGLISH = ("en", "english")


def spoken_in(loaded: Loaded, language: str | None, task: Task) -> str | None:
    """The code of the language that is asked for; None where the model is to find out. Raises EngineError."""
    where = f"the transcriber '{loaded.facts['model']}'"
    if not loaded.languages:
        if language is not None and language.casefold() not in ENGLISH:
            raise EngineError(f"{where} knows no language but English. Leave language out, or choose another model.")
        if task == "translate":
            raise EngineError(
                f"{where} knows English alone, and translates nothing. Leave task out, or choose another."
            )
        return None
    if language is None:
        return None
    from transformers.models.whisper.tokenization_whisper import TO_LANGUAGE_CODE

    code = str(TO_LANGUAGE_CODE.get(language.casefold(), language.casefold()))
    if code not in loaded.languages:
        near = nearest(language, (*loaded.languages, *TO_LANGUAGE_CODE))
        raise EngineError(f"{where} knows no language '{language}'.{near} It knows: {listed(loaded.languages)}.")
    return code
