#!/usr/bin/env bash
# Starts one Apache Kafka broker for tests on 127.0.0.1:${KAFKA_PORT:-19092}; does nothing where it already runs.
# Needs Java 17 or newer, and Maven for the first start. What it downloads and stores lies in .kafka/.
set -euo pipefail

port=${KAFKA_PORT:-19092}
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cache=$(cd "$here/../.." && pwd)/.kafka
libs=$cache/libs
home=$cache/$port
pid_file=$home/pid

fail() { echo "start.sh: $*" >&2; exit 1; }

running() {
    [[ -f $pid_file && $(ps -ww -o command= -p "$(cat "$pid_file")" 2>/dev/null) == *kafka.Kafka* ]]
}

require_java() {
    command -v java >/dev/null || fail "Java 17 or newer is needed; no 'java' on the PATH"
    local major
    major=$(java -version 2>&1 | sed -n 's/.*version "\([0-9]*\).*/\1/p' | head -1)
    ((${major:-0} >= 17)) || fail "Java 17 or newer is needed; this one is ${major:-unknown}"
}

download() {
    [[ $libs -nt $here/pom.xml ]] && return
    command -v mvn >/dev/null || fail "Maven is needed to download Kafka once; no 'mvn' on the PATH"
    echo "downloading Apache Kafka (about 45 MB) to .kafka/libs"
    # Into a folder of its own first: an interrupted download is never taken for a whole one.
    local partial=$libs.$$
    mvn -q -B -f "$here/pom.xml" dependency:copy-dependencies -DoutputDirectory="$partial"
    rm -rf "$libs"
    mv "$partial" "$libs"
}

format() {
    cp "$here/server.properties" "$home/server.properties"
    cat >>"$home/server.properties" <<EOF
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$((port + 1))
advertised.listeners=PLAINTEXT://127.0.0.1:$port
controller.quorum.bootstrap.servers=127.0.0.1:$((port + 1))
log.dirs=$home/data
EOF
    [[ -f $home/data/meta.properties ]] && return
    local id
    id=$(java -cp "$libs/*" kafka.tools.StorageTool random-uuid 2>/dev/null)
    java -cp "$libs/*" kafka.tools.StorageTool format --standalone -t "$id" -c "$home/server.properties" \
        >"$home/format.log" 2>&1 || fail "could not format the storage: $(tail -3 "$home/format.log")"
}

# Connecting is not enough: the port is bound before requests are served. So ask for the API versions; the answer
# begins with a zero byte, at which read returns.
answers() {
    (
        exec 3<>"/dev/tcp/127.0.0.1/$port"
        printf '\x00\x00\x00\x0a\x00\x12\x00\x00\x00\x00\x00\x01\xff\xff' >&3
        IFS= read -r -t 2 -d '' -u 3
    ) 2>/dev/null
}

await() {
    for ((tries = 0; tries < 300; tries++)); do
        answers && return
        running || fail "Kafka ended while starting: $(tail -5 "$home/server.log")"
        sleep 0.2
    done
    fail "Kafka did not answer within a minute; see .kafka/$port/server.log"
}

mkdir -p "$home"
echo '*' >"$cache/.gitignore"
if ! running; then
    ! answers || fail "something else answers on port $port; set KAFKA_PORT to another"
    require_java
    download
    format
    nohup java -Xms256m -Xmx256m -XX:+UseSerialGC -Dorg.slf4j.simpleLogger.defaultLogLevel=warn -cp "$libs/*" kafka.Kafka "$home/server.properties" \
        >>"$home/server.log" 2>&1 </dev/null &
    echo $! >"$pid_file"
fi
await
echo "Kafka answers on 127.0.0.1:$port"
