#!/bin/sh
echo @HOSTNAME@
