"""The seam between what we write of a prompt and what others do: only our side's control tokens are read as such.

What users, files, tools and models have said is data. It may spell a control token such as `<|im_end|>`, and is then
read as the letters that it is. So the chat template is run a second time with its own control tokens sealed: each is
put as two code points that no text has. What is sealed in the outcome the template wrote, and what is spelled there
somebody else did, whatever the template trims, moves, looks for or leaves out.

While nobody else spells one, the tokens are those of the text as it is read whole, to the last bit. Otherwise it is
read whole still, by a tokenizer in whose vocabulary control tokens have no names but their seals. All that reads a
text for a model reads it by these modules.
"""
