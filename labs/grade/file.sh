# Tells of one file, without following a link at its end.
#   $1 path   $2 bytes of it to print
# Output: "none", or `kind|size|mode|owner|group|seconds` and a line with the
# SHA-256 of the whole, if that can be had in 5 seconds, or with where a link
# leads; then the file's beginning.
# Exit 77: it could not be looked at.
set -u
export LC_ALL=C
if ! about=$(stat -c '%F|%s|%a|%U|%G|%Y' -- "$1" 2>&1); then
	case $about in
	*"No such file or directory" | *"Not a directory") echo none && exit 0 ;;
	*) echo "$about" >&2 && exit 77 ;;
	esac
fi
echo "$about"
case $about in
"regular "*)
	[ -r "$1" ] || { echo "the file can't be read" >&2 && exit 77; }
	# A line in any case, empty when the file is too big: what follows is the file's own.
	hash=$(timeout 5 sha256sum <"$1" | cut -d ' ' -f 1)
	echo "$hash"
	timeout 5 head -c "$2" <"$1"
	;;
"symbolic link"*) readlink -- "$1" ;;
*) echo ;;
esac
