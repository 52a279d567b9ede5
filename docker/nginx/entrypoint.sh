#!/bin/sh
# Checks the NGINX_* settings, writes them where nginx.conf includes them, and runs nginx so that
# SIGTERM as well as SIGQUIT lets requests in flight finish.
set -eu
# Some of what is written has the door's password in it.
umask 077

pid=
stopping=
# Repeated, because nginx loses the first signal while it starts.
# shellcheck disable=SC2329  # invoked by the trap
stop() {
  stopping=yes
  [ -n "$pid" ] || return 0
  while kill -s QUIT "$pid" 2>/dev/null; do
    sleep 1
  done &
}
trap stop TERM QUIT INT

refuse() {
  echo "nginx: $1" >&2
  exit 64
}

# matches NAME REGEX EXAMPLE: the variable must match the extended regular expression as a whole.
matches() {
  value=
  eval "value=\$$1"
  # A line break would end the match and let a directive of its own through.
  case $value in *'
'*) refuse "$1 must be one line" ;; esac
  printf '%s\n' "$value" | grep -Eqx -- "$2" || refuse "$1 must be $3, not '$value'"
}

: "${NGINX_DOOR_PASSWORD_FILE:=}" "${NGINX_MAIL_ADDRESS:=}"
matches NGINX_ACCESS_LOG 'on|off' 'on or off'
matches NGINX_CLIENT_BURST '[1-9][0-9]*' 'a whole number'
matches NGINX_CLIENT_CONNECTIONS '[1-9][0-9]*' 'a whole number'
matches NGINX_CLIENT_MAX_BODIES '[1-9][0-9]*' 'a whole number'
matches NGINX_CLIENT_MAX_BODY_SIZE '[0-9]+[kKmMgG]?' 'a size such as 2m'
matches NGINX_CLIENT_RATE '[1-9][0-9]*r/[sm]' 'a rate such as 50r/s'
matches NGINX_DOOR_EXEMPT '((api|assets|forms|tracking)( (api|assets|forms|tracking))*)?' 'some of api, assets, forms and tracking'
matches NGINX_DOOR_PASSWORD_FILE '(/[a-zA-Z0-9/._-]+)?' 'the path of a file, or empty for no door'
matches NGINX_FASTCGI_ADDRESS '([a-zA-Z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]+|unix:/[a-zA-Z0-9/._-]+' 'an address such as 127.0.0.1:9000'
matches NGINX_FASTCGI_STATUS_ADDRESS '([a-zA-Z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]+|unix:/[a-zA-Z0-9/._-]+' 'an address such as 127.0.0.1:9001'
matches NGINX_FASTCGI_TIMEOUT '[0-9]+(ms|s|m|h)?' 'a time such as 300s'
matches NGINX_GZIP_LEVEL '[0-9]' 'a number from 0 (off) to 9'
matches NGINX_HSTS_MAX_AGE '[0-9]+' 'a number of seconds; 0 is off'
matches NGINX_KEEPALIVE_TIMEOUT '[0-9]+(ms|s|m|h)?' 'a time such as 75s'
matches NGINX_REAL_IP_HEADER '[a-zA-Z0-9-]+' 'the name of a header'
case $NGINX_REAL_IP_HEADER in [fF][oO][rR][wW][aA][rR][dD][eE][dD])
  refuse 'NGINX_REAL_IP_HEADER must not be Forwarded: nginx reads addresses alone, not for=…' ;;
esac
matches NGINX_LOGIN_BURST '[1-9][0-9]*' 'a whole number'
matches NGINX_LOGIN_RATE '[1-9][0-9]*r/[sm]' 'a rate such as 20r/m'
matches NGINX_MAIL_ADDRESS '(([a-zA-Z0-9._-]+|\[[0-9a-fA-F:]+\]):[0-9]+)?' 'an address such as mail:8025, or empty for no mails'
matches NGINX_NOINDEX 'on|off' 'on or off'
matches NGINX_READY_PATH '/[a-zA-Z0-9/._-]*' 'a path such as /s/login'
matches NGINX_SHUTDOWN_TIMEOUT '[0-9]+(ms|s|m)?' 'a time such as 15s'
matches NGINX_STATIC_MAX_AGE '[0-9]+' 'a number of seconds'
matches NGINX_UPLOAD_MAX_BODY_SIZE '[0-9]+[kKmMgG]?' 'a size such as 128m'
matches NGINX_WORKER_CONNECTIONS '[1-9][0-9]*' 'a whole number'
matches NGINX_WORKER_PROCESSES 'auto|[1-9][0-9]*' 'auto or a whole number'

conf=/tmp/nginx
mkdir -p "$conf"

workers=$NGINX_WORKER_PROCESSES
# nginx' own "auto" counts the machine's processors, not the container's share of them.
if [ "$workers" = auto ] && [ -r /sys/fs/cgroup/cpu.max ]; then
  read -r quota period < /sys/fs/cgroup/cpu.max
  if [ "$quota" != max ]; then
    workers=$(((quota + period - 1) / period))
  fi
fi
cat > "$conf/main.conf" <<EOF
worker_processes $workers;
worker_shutdown_timeout $NGINX_SHUTDOWN_TIMEOUT;
EOF
echo "worker_connections $NGINX_WORKER_CONNECTIONS;" > "$conf/events.conf"

access_log='/dev/stdout main'
[ "$NGINX_ACCESS_LOG" = on ] || access_log=off
gzip=on
level=$NGINX_GZIP_LEVEL
if [ "$level" = 0 ]; then
  gzip=off
  level=1
fi
open_files='max=5000 inactive=60s'
# What no browser may keep changes while it is served.
[ "$NGINX_STATIC_MAX_AGE" != 0 ] || open_files=off
cat > "$conf/http.conf" <<EOF
open_file_cache $open_files;
access_log $access_log;
keepalive_timeout $NGINX_KEEPALIVE_TIMEOUT;
client_max_body_size $NGINX_CLIENT_MAX_BODY_SIZE;
fastcgi_read_timeout $NGINX_FASTCGI_TIMEOUT;
fastcgi_send_timeout $NGINX_FASTCGI_TIMEOUT;
gzip $gzip;
gzip_static $gzip;
gzip_comp_level $level;
upstream php_fpm {
  server $NGINX_FASTCGI_ADDRESS max_fails=0;
}
upstream php_fpm_status {
  server $NGINX_FASTCGI_STATUS_ADDRESS max_fails=0;
}
map \$host \$static_max_age {
  default $NGINX_STATIC_MAX_AGE;
}
map \$host \$hsts_max_age {
  default $NGINX_HSTS_MAX_AGE;
}
EOF

echo "real_ip_header $NGINX_REAL_IP_HEADER;" > "$conf/real_ip.conf"
: > "$conf/trusted_peers.conf"
address='[0-9]{1,3}(\.[0-9]{1,3}){3}(/[0-9]{1,2})?|[0-9a-fA-F:]*:[0-9a-fA-F:.]*(/[0-9]{1,3})?'
for proxy in $(printf '%s' "$NGINX_TRUSTED_PROXIES" | tr ',' ' '); do
  printf '%s\n' "$proxy" | grep -Eqx -- "$address" ||
    refuse "NGINX_TRUSTED_PROXIES must be addresses or networks such as 10.0.0.0/8, not '$proxy'"
  echo "set_real_ip_from $proxy;" >> "$conf/real_ip.conf"
  echo "$proxy 1;" >> "$conf/trusted_peers.conf"
done

cat > "$conf/rates.conf" <<EOF
limit_req_zone \$client zone=clients:4m rate=$NGINX_CLIENT_RATE;
limit_req_zone \$guesser zone=logins:4m rate=$NGINX_LOGIN_RATE;
EOF
# What is too much is refused, not kept waiting: that would hold connections.
cat > "$conf/limits.conf" <<EOF
limit_conn connections $NGINX_CLIENT_CONNECTIONS;
limit_conn bodies $NGINX_CLIENT_MAX_BODIES;
limit_req zone=clients burst=$NGINX_CLIENT_BURST nodelay;
limit_req zone=logins burst=$NGINX_LOGIN_BURST nodelay;
EOF
echo "client_max_body_size $NGINX_UPLOAD_MAX_BODY_SIZE;" > "$conf/upload.conf"

# The door. Its password is read from a file, and is in no argument and no variable; what opens it is
# derived from it, so that a new password closes it to everybody.
exempt() {
  case " $NGINX_DOOR_EXEMPT " in *" $1 "*) echo "\"~$2\" 1;" ;; esac
}
{
  exempt api '^/(?:api|oauth/v2)/'
  exempt assets '^/(?:asset|assets|media|themes|app/assets|app/bundles/[A-Za-z0-9_]+/Assets|plugins/[A-Za-z0-9_]+/Assets)/'
  exempt forms '^/(?:form/|media/js/mautic-form(?:-src)?\.js)'
  exempt tracking '^/(?:mtc\.js|mtc(?:/event)?|mtracking\.gif|dwc|mailer/callback|plugin/[A-Za-z0-9_]+/tracking\.gif)(?:[?]|$)'
  exempt tracking '^/(?:(?:r|redirect|dwc|focus)/|email/(?!preview/))'
} > "$conf/door_exempt.conf"
door=open
cookie=
seal=
if [ -n "$NGINX_DOOR_PASSWORD_FILE" ]; then
  # A line break at its end is none of the password.
  password=$(cat "$NGINX_DOOR_PASSWORD_FILE") && [ -n "$password" ] ||
    refuse "NGINX_DOOR_PASSWORD_FILE names $NGINX_DOOR_PASSWORD_FILE, in which is no password"
  door=login
  # derived WORD: 64 hex digits that follow from the password. printf is the shell's own: nothing of
  # it is an argument of a process.
  derived() {
    printf 'mautic-multidev %s\n%s' "$1" "$password" | sha256sum | cut -d ' ' -f 1
  }
  cookie=$(derived cookie)
  seal=$(derived seal)
  # The password is random: many rounds would only cost the server, at each wrong guess.
  # shellcheck disable=SC2016  # perl's variables
  printf '%s' "$password" | perl -e '
    my $password = do { local $/; <STDIN> };
    open my $random, "<", "/dev/urandom" or die "/dev/urandom: $!\n";
    read $random, my $salt, 8;
    print "preview:", crypt($password, "\$6\$rounds=1000\$" . unpack("H*", $salt) . "\$"), "\n";
  ' > "$conf/door.htpasswd"
fi
# Mails are for whoever has opened the door: without one they are shown to nobody. The catcher is
# looked up with each request, as nginx does not start with a name that it cannot find; and by its
# whole name, as nginx does not read the domain to search in.
catcher=
resolver=
if [ "$door" = login ] && [ -n "$NGINX_MAIL_ADDRESS" ]; then
  domain=
  while read -r word value _; do
    case $word:$value in
      nameserver:*%*) ;;
      nameserver:*:*) resolver="$resolver [$value]" ;;
      nameserver:*) resolver="$resolver $value" ;;
      search:*) domain=$value ;;
    esac
  done < /etc/resolv.conf
  name=${NGINX_MAIL_ADDRESS%:*}
  case $name in *[.:]*) domain= ;; esac
  catcher=$name${domain:+.$domain}:${NGINX_MAIL_ADDRESS##*:}
fi
robots_tag=
[ "$NGINX_NOINDEX" = off ] || robots_tag='noindex, nofollow'
cat >> "$conf/http.conf" <<EOF
${resolver:+resolver$resolver;}
map \$host \$mail_catcher {
  default "$catcher";
}
map \$host \$robots_tag {
  default "$robots_tag";
}
map \$host \$ready_path {
  default $NGINX_READY_PATH;
}
map \$host \$door {
  default $door;
}
map \$host \$door_cookie {
  default "$cookie";
}
map \$host \$door_seal {
  default "$seal";
}
map \$cookie_mautic_door \$door_cookie_fits {
  default 0;
  "${cookie:-none}" 1;
}
EOF

# A container without IPv6 cannot open [::].
echo 'listen 8080 default_server;' > "$conf/listen_site.conf"
echo 'listen 8081 default_server;' > "$conf/listen_probes.conf"
if [ -e /proc/net/if_inet6 ]; then
  echo 'listen [::]:8080 default_server;' >> "$conf/listen_site.conf"
  echo 'listen [::]:8081 default_server;' >> "$conf/listen_probes.conf"
fi

if [ $# -gt 0 ]; then
  exec "$@"
fi
nginx -e /dev/stderr -c /etc/nginx/mautic/nginx.conf -g 'daemon off;' &
pid=$!
[ -z "$stopping" ] || stop
status=0
wait "$pid" || status=$?
# A signal interrupts wait while nginx is still finishing requests.
while kill -0 "$pid" 2>/dev/null; do
  status=0
  wait "$pid" || status=$?
done
exit "$status"
