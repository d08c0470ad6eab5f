#!/usr/bin/env bash
# Stops the broker of start.sh on ${KAFKA_PORT:-19092}; what it stored stays. With --kill at once, by kill -9, as a crash.
set -euo pipefail

port=${KAFKA_PORT:-19092}
cache=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)/.kafka
pid_file=$cache/$port/pid

running() {
    [[ -f $pid_file && $(ps -ww -o command= -p "$(cat "$pid_file")" 2>/dev/null) == *kafka.Kafka* ]]
}

ended() {
    for ((tries = 0; tries < $1 * 10; tries++)); do
        running || return 0
        sleep 0.1
    done
    return 1
}

if running; then
    if [[ ${1:-} != --kill ]]; then
        kill -TERM "$(cat "$pid_file")"
        ended 30 || echo "stop.sh: Kafka did not end within 30 s and is killed" >&2
    fi
    running && kill -KILL "$(cat "$pid_file")"
    ended 10 || { echo "stop.sh: process $(cat "$pid_file") does not end" >&2; exit 1; }
fi
rm -f "$pid_file"
