"""Reports: what a sweep, or a single run, has shown, as numbers, as one offline HTML page and as pictures.

A report is made from records alone and can be made again at any time; nothing is kept between two of them.
"""
