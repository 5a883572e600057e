#!/bin/sh
# Reports a call of a program before it runs.
@ASK@/"${0##*/}" "$@"
exec @REAL@/"${0##*/}" "$@"
