# Runs commands on a sandbox's node, as many at once as are asked for. Each
# line of its input is one: "ID SECONDS BYTES PRINTED VARIABLES INPUT WORD...", where the
# input and the words, the first of which are environment variables, are base64 behind "=".
# Each line of its output is a piece of what one has printed, in base64 ("ID 1"
# and "ID 2" for stdout and stderr, at most so many bytes of each), or its exit
# code and its end ("ID 0"); "flood" of one that printed more than it may, and was
# ended (0: any number of bytes). With its input it ends, and ends them.
#
# It is Perl because Debian always has it, and because a command then costs no
# more processes than itself.
use strict;
use warnings;
use IO::Select;
use MIME::Base64 qw(encode_base64 decode_base64);
use POSIX qw(:sys_wait_h);

my $piece = 2048;    # bytes that are told in one line
my $tick  = 0.2;     # seconds until it is looked who has ended
my $input = '';
my $open  = IO::Select->new(\*STDIN);
my (%running, %of);  # commands by process, and by what is read of them

$SIG{CHLD} = sub { };    # wakes the wait below

sub tell_one {
	my $line = join(' ', @_) . "\n";
	while (length $line) {
		my $n = syswrite(STDOUT, $line);
		next if !defined $n && $!{EINTR};
		exit 1 unless defined $n;
		substr($line, 0, $n) = '';
	}
}

sub begin {
	my ($id, $seconds, $bytes, $printed, $variables, @words) = split / /, $_[0], -1;
	@words = map { decode_base64(substr $_, 1) } @words;
	my $given = shift @words;
	pipe(my $out, my $out_end) && pipe(my $err, my $err_end) or return tell_one($id, 0, 126);
	my $pid = fork;
	return tell_one($id, 0, 126) unless defined $pid;
	if (!$pid) {
		POSIX::setpgid(0, 0);
		feed($given);
		open(STDOUT, '>&', $out_end);
		open(STDERR, '>&', $err_end);
		$SIG{CHLD} = 'DEFAULT';
		for (splice @words, 0, $variables) {
			my ($name, $value) = split /=/, $_, 2;
			$ENV{$name} = $value // '';
		}
		no warnings 'exec';
		exec {$words[0]} @words or do { syswrite(STDERR, "$words[0]: $!\n"); POSIX::_exit(127) };
	}
	my $now = time;
	my $c = $running{$pid} = {id => $id, pid => $pid, until => $now + $seconds, left => {}, may => $printed};
	for ([$out, 1], [$err, 2]) {
		my ($from, $kind) = @$_;
		$c->{left}{$kind} = $bytes;
		$of{fileno $from} = [$c, $kind];
		$open->add($from);
	}
}

# feed makes a text the input. A pipe takes a page at once; for more there is
# somebody who writes.
sub feed {
	my ($text) = @_;
	if (!length $text) { open(STDIN, '<', '/dev/null'); return }
	pipe(my $from, my $to) or POSIX::_exit(126);
	if (length $text > 4096) {
		my $pid = fork;
		POSIX::_exit(126) unless defined $pid;
		if (!$pid) {
			close $from;
			$SIG{PIPE} = 'DEFAULT';
			while (length $text) {
				my $n = syswrite($to, $text);
				POSIX::_exit(0) unless defined $n || $!{EINTR};
				substr($text, 0, $n // 0) = '';
			}
			POSIX::_exit(0);
		}
	} else {
		syswrite($to, $text);
	}
	close $to;
	open(STDIN, '<&', $from);
	close $from;
}

sub hear {
	my ($from) = @_;
	my ($c, $kind) = @{$of{fileno $from}};
	my $n = sysread($from, my $said, $piece);
	return if !defined $n && $!{EINTR};
	if (!$n) {
		delete $of{fileno $from};
		delete $c->{left}{$kind};
		$open->remove($from);
		close $from;
		return;
	}
	if ($c->{may} && ($c->{said} += $n) > $c->{may} && !$c->{flood}) {
		$c->{flood} = 1;
		kill 'KILL', -$c->{pid};
	}
	my $keep = substr($said, 0, $c->{left}{$kind});
	$c->{left}{$kind} -= length $keep;
	tell_one($c->{id}, $kind, encode_base64($keep, '')) if length $keep;
}

# look ends what has run for too long, and tells of what has ended. What a
# command has left behind may keep its output open: that is waited for no
# longer than a second.
sub look {
	my $now = time;
	for my $c (values %running) {
		if (!defined $c->{code} && waitpid($c->{pid}, WNOHANG) == $c->{pid}) {
			$c->{code} = WIFEXITED($?) ? WEXITSTATUS($?) : 128 + WTERMSIG($?);
			$c->{ended} = $now;
		}
		if (!defined $c->{code} && $now >= $c->{until}) {
			kill $now > $c->{until} + 1 ? 'KILL' : 'TERM', -$c->{pid};
			$c->{late} = 1;
		}
		next unless defined $c->{code} && (!%{$c->{left}} || $now > $c->{ended} + 1);
		for my $from (grep { my $o = $of{fileno $_}; $o && $o->[0] == $c } $open->handles) {
			delete $of{fileno $from};
			$open->remove($from);
			close $from;
		}
		delete $running{$c->{pid}};
		tell_one($c->{id}, 0, $c->{flood} ? 'flood' : $c->{late} ? 124 : $c->{code});
	}
}

while (1) {
	for my $from ($open->can_read(%running ? $tick : undef)) {
		if (fileno $from) { hear($from); next }
		my $n = sysread(STDIN, $input, 65536, length $input);
		next if !defined $n && $!{EINTR};
		if (!$n) {
			kill 'KILL', map { -$_ } keys %running;
			exit;
		}
		begin($1) while $input =~ s/^([^\n]*)\n//;
	}
	look();
}
