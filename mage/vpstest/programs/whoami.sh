#!/bin/sh
exec "${0%/*}/id" -un
