#!/bin/sh
# One callback, given as the first argument: appended, synced, forwarded. webhook answers 200 when
# this ends well, and 500 when it does not.
set -e
printf '%s\n' "$1" >> "$FOLDER/events.txt"
sync -d "$FOLDER/events.txt"
exec curl --silent --show-error --fail --output /dev/null --data-raw "$1" "$RECEIVER"
