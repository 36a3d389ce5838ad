"""The parts of gen/mkloader, one concern each.

names      which words may become C identifiers, types and include lines
spec       loaders.ini and flags: reading, the table of keys, validation
contract   what the templates say: versions, choices, key types, config fields, prototypes
conditions the #if lines of a C file, resolved as far as what is known allows
render     the thin wrapper: NAME.h and NAME.c
expand     the self-contained NAME.h
profile    what profile = embedded sets, and what does not go with it
standalone the self-contained NAME.h of an embedded loader, which is made of:
  alone          the templates as a loader sees them that has its unit to itself
  declarations   C text as its declarations
  reach          those of them that the public functions need
  constants      private numbers as C has them instead of the preprocessor
  tidy           conditions that macros have decided, comments in their columns
  sizes          figures for the head
output     writing, checking, listing, dependency files
"""
