"""The program that runs musubi-tuner's scripts in its own environment and adds what they lack.

It imports the standard library, what musubi-tuner brings (torch), and of this project only modules
that do the same; musubi-tuner's files stay as they are. Python 3.10 can run it.
"""
