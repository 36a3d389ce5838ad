"""The parts of gen/mkloader, one concern each.

names      which words may become C identifiers, types and include lines
spec       loaders.ini and flags: reading, the table of keys, validation
contract   what the templates say: versions, choices, key types, config fields, prototypes
conditions the #if lines of a C file, resolved as far as what is known allows
render     the thin wrapper: NAME.h and NAME.c
expand     the self-contained NAME.h
output     writing, checking, listing, dependency files
"""
