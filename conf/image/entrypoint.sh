#!/bin/bash
# Starts what the container is for. Spark on Kubernetes says `driver …` or `executor`, and the rest in variables that Spark
# defines (Constants.scala of spark-kubernetes); any other command is run as it is.
set -euo pipefail

# A user without a name, as --user 1000 or OpenShift make one: Java's login finds none otherwise.
if ! whoami >/dev/null 2>&1; then
    echo "lakescribe:x:$(id -u):0::$HOME:/bin/sh" >>/etc/passwd
fi

case "${1:-}" in
driver)
    shift
    set -- spark-submit --conf "spark.driver.bindAddress=$SPARK_DRIVER_BIND_ADDRESS" --deploy-mode client "$@"
    ;;
executor)
    java_options=()
    for ((i = 0; ; i++)); do
        option=SPARK_JAVA_OPT_$i
        [ -n "${!option+set}" ] || break
        java_options+=("${!option}")
    done
    class_path=${SPARK_CONF_DIR:-$SPARK_HOME/conf}${HADOOP_CONF_DIR:+:$HADOOP_CONF_DIR}:$SPARK_HOME/jars/*
    set -- "$JAVA_HOME/bin/java" "${java_options[@]}" "-Xms$SPARK_EXECUTOR_MEMORY" "-Xmx$SPARK_EXECUTOR_MEMORY" \
        -cp "$class_path${SPARK_EXTRA_CLASSPATH:+:$SPARK_EXTRA_CLASSPATH}" \
        org.apache.spark.scheduler.cluster.k8s.KubernetesExecutorBackend \
        --driver-url "$SPARK_DRIVER_URL" \
        --executor-id "$SPARK_EXECUTOR_ID" \
        --cores "$SPARK_EXECUTOR_CORES" \
        --app-id "$SPARK_APPLICATION_ID" \
        --hostname "$SPARK_EXECUTOR_POD_IP" \
        --resourceProfileId "$SPARK_RESOURCE_PROFILE_ID" \
        --podName "$SPARK_EXECUTOR_POD_NAME"
    ;;
esac
exec tini -s -- "$@"
