# As the official image's own start does it, by the same program of Kafka's.
set -eu
kafka() { java -XX:TieredStopAtLevel=1 -Xmx512m -cp '/opt/kafka/libs/*' "$@"; }
export CLUSTER_ID=${CLUSTER_ID:-5L6g3nShT-eMCtK--X86sw}
result=$(kafka kafka.docker.KafkaDockerWrapper setup --default-configs-dir /etc/kafka/docker \
    --mounted-configs-dir /mnt/shared/config --final-configs-dir /opt/kafka/config 2>&1) \
    || echo "$result" | grep -i "already formatted" || { echo "$result"; exit 1; }
exec java -XX:TieredStopAtLevel=1 -Xmx512m -cp '/opt/kafka/libs/*' kafka.Kafka \
    /opt/kafka/config/server.properties
