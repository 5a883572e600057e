#!/bin/sh
# Stands for sync: fifty servers do not share one disk.
