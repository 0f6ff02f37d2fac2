"""Search: which of many texts are nearest to a question. Numbers in, numbers out; stages ask it and know prompts."""
