#!/usr/bin/perl
# sha256sum, for machines without GNU's: of files, or of the standard input.
use strict;
use warnings;
use Digest::SHA;

my $failed = 0;
for my $file (@ARGV ? @ARGV : '-') {
    my $hash = Digest::SHA->new(256);
    if (!eval { $file eq '-' ? $hash->addfile(*STDIN, 'b') : $hash->addfile($file, 'b'); 1 }) {
        warn "sha256sum: $file: $!\n";
        $failed = 1;
        next;
    }
    print $hash->hexdigest, "  $file\n";
}
exit $failed;
