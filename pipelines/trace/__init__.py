"""Which records are in which versions of datasets, and what was made of these.

steps       what the log says was made of each dataset
made_from   what was made of datasets, by digest
files       the files that evidence names, in the project and in DVC's cache
reading     what one file says of records
words       texts and subjects, and their HMACs
index       the SQLite file that can be deleted
fill        reads into the index what it lacks
exhaustive  the same questions answered from the files alone
question    what somebody asks about records
answer      what became of records
looked_up   all of this for one question
back        the records of the datasets behind a version
rights      what the person at this machine may look into
"""
