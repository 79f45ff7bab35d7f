#!/bin/sh
# Submit with curl, and poll the monitor for as long as it answers 202.
#
#   follow.sh [curl's options] URL    prints the monitor's URL, then the finished document

set -eu

answer='%{http_code} %header{retry-after} %header{location}\n'

curl --silent --show-error --output /dev/null --write-out "$answer" "$@" | {
    read -r status pause monitor
    echo "$monitor"
    while [ "$status" = 202 ]; do
        sleep "$pause"
        document=$(curl --silent --show-error --write-out "\n$answer" "$monitor")
        read -r status pause _ <<END
$(printf "%s\n" "$document" | tail -n 1)
END
    done
    printf "%s\n" "$document" | sed '$d'
}
