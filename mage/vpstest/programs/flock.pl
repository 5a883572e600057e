#!/usr/bin/perl
# flock, for machines without util-linux: flock [-sxnu] [-w SECONDS] FD,
# or flock [...] FILE COMMAND...
use strict;
use warnings;
use Fcntl qw(:flock O_RDONLY O_CREAT);
use Time::HiRes qw(setitimer ITIMER_REAL);

# The command inherits the lock.
$^F = 1023;

my ($mode, $wait) = (LOCK_EX, undef);
while (@ARGV && $ARGV[0] =~ /^-(.+)/) {
    my $flag = $1;
    shift;
    if    ($flag =~ /^(s|-shared)$/)       { $mode = LOCK_SH }
    elsif ($flag =~ /^(x|e|-exclusive)$/)  { $mode = LOCK_EX }
    elsif ($flag =~ /^(u|-unlock)$/)       { $mode = LOCK_UN }
    elsif ($flag =~ /^(n|-nonblock|-nb)$/) { $wait = 0 }
    elsif ($flag =~ /^(w|-wait|-timeout)$/) { $wait = shift }
    else { die "flock: unknown option -$flag\n" }
}
my $target = shift // die "flock: a file or a descriptor is needed\n";
my $handle;
if (!@ARGV) {
    open $handle, '<&=', $target or die "flock: $target: $!\n";
}
else {
    sysopen $handle, $target, O_RDONLY | O_CREAT, 0666 or die "flock: cannot open $target: $!\n";
}

sub locked {
    return flock $handle, $mode if !defined $wait;
    return flock $handle, $mode | LOCK_NB if $wait == 0;
    my $done = 0;
    eval {
        local $SIG{ALRM} = sub { die "too late\n" };
        setitimer(ITIMER_REAL, $wait);
        $done = flock $handle, $mode;
        setitimer(ITIMER_REAL, 0);
    };
    return $done;
}

exit 1 if !locked();
exit 0 if !@ARGV;
my $status = system { $ARGV[0] } @ARGV;
exit($status & 127 ? 128 + ($status & 127) : $status >> 8);
