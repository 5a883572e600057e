#!/usr/bin/perl
# readlink, for machines whose own has no -f: readlink [-n] [-f] PATH.
use strict;
use warnings;
use Cwd qw(abs_path);

my ($newline, $follow) = ("\n", 0);
while (@ARGV && $ARGV[0] =~ /^-(.+)/) {
    my $flags = $1;
    shift;
    $newline = '' if $flags =~ /n/;
    $follow  = 1  if $flags =~ /f/;
}

sub parts {
    my $path = shift;
    $path =~ s{(?<=.)/+$}{};
    return $path =~ m{^(.*)/([^/]*)$}s ? (length $1 ? $1 : '/', $2) : ('.', $path);
}

# real finds the file behind all links; only its folder has to exist.
sub real {
    my $path = shift;
    for (1 .. 40) {
        last if !-l $path;
        my $target = readlink $path;
        $path = $target =~ m{^/} ? $target : (parts($path))[0] . "/$target";
    }
    return abs_path($path) if -d $path;
    my ($dir, $name) = parts($path);
    my $real = abs_path($dir);
    return if !defined $real || !-d $real;
    return $real eq '/' ? "/$name" : "$real/$name";
}

my $failed = 0;
for my $path (@ARGV) {
    my $target = $follow ? real($path) : readlink $path;
    if (defined $target) { print $target, $newline }
    else                 { $failed = 1 }
}
exit $failed;
