#!/usr/bin/perl
# timeout, for machines without GNU's: timeout [-k SECONDS] [-s SIGNAL] SECONDS
# COMMAND... As GNU's it leads a process group of its own and signals all of it.
use strict;
use warnings;
use POSIX qw(:sys_wait_h);
use Time::HiRes qw(setitimer ITIMER_REAL);

my %unit = ('' => 1, s => 1, m => 60, h => 3600, d => 86400);

sub seconds {
    my ($number, $unit) = ($_[0] // '') =~ /^(\d*\.?\d+)([smhd]?)$/ or die "timeout: invalid time interval\n";
    return $number * $unit{$unit};
}

my ($signal, $kill) = ('TERM', undef);
while (@ARGV && $ARGV[0] =~ /^-/) {
    my $flag = shift;
    if    ($flag eq '-k') { $kill = seconds(shift) }
    elsif ($flag eq '-s') { ($signal = shift) =~ s/^SIG// }
    else  { die "timeout: unknown option $flag\n" }
}
my $limit = seconds(shift);
my $late  = 0;

setpgrp 0, 0;
defined(my $child = fork) or die "timeout: $!\n";
if (!$child) {
    exec { $ARGV[0] } @ARGV or do { warn "timeout: $ARGV[0]: $!\n"; POSIX::_exit(127) };
}

sub pass {
    my $name = shift;
    local $SIG{$name} = 'IGNORE' if $name ne 'KILL';
    kill $name, $child;
    # With KILL this is the end of this program as well, as with GNU's.
    kill $name, -getpgrp();
}

$SIG{ALRM} = sub {
    $signal = 'KILL' if $late;
    $late = 1;
    setitimer(ITIMER_REAL, $kill) if $kill && $signal ne 'KILL';
    pass($signal);
};
$SIG{$_} = do { my $name = $_; sub { pass($name) } } for qw(TERM INT HUP);
setitimer(ITIMER_REAL, $limit) if $limit > 0;
1 while waitpid($child, 0) == -1 && $!{EINTR};
my $status = $?;
exit 124 if $late;
exit($status & 127 ? 128 + ($status & 127) : $status >> 8);
