#!/usr/bin/perl
# setsid, for machines without util-linux: setsid [--wait] [--fork] COMMAND...
use strict;
use warnings;
use POSIX ();

my ($wait, $fork) = (0, 0);
while (@ARGV && $ARGV[0] =~ /^-/) {
    my $flag = shift;
    if    ($flag =~ /^(-w|--wait)$/) { $wait = 1 }
    elsif ($flag =~ /^(-f|--fork)$/) { $fork = 1 }
    else  { die "setsid: unknown option $flag\n" }
}
if ($fork || getpgrp() == $$) {
    defined(my $child = fork) or die "setsid: $!\n";
    if ($child) {
        exit 0 if !$wait;
        waitpid $child, 0;
        exit($? & 127 ? 128 + ($? & 127) : $? >> 8);
    }
}
POSIX::setsid() > 0 or die "setsid: $!\n";

# So that the process that plays this server can end the session.
my $sessions = @SESSIONS@;
mkdir $sessions;
if (open my $note, '>', "$sessions/$$") { close $note }

exec { $ARGV[0] } @ARGV or die "setsid: $ARGV[0]: $!\n";
