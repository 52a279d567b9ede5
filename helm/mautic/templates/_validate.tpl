{{/* What a schema cannot say in a sentence: values that contradict each other. All of them are told at once. */}}
{{- define "mautic.validate" -}}
{{- $wrong := list -}}
{{- $v := .Values -}}
{{- if and (not $v.mysql.enabled) (not $v.database.host) -}}
{{- $wrong = append $wrong "database.host: must be given, unless mysql.enabled" -}}
{{- end -}}
{{- if and $v.mysql.enabled $v.database.host -}}
{{- $wrong = append $wrong "database.host: must be empty when mysql.enabled" -}}
{{- end -}}
{{- if and $v.mysql.enabled (ne (int $v.database.port) 3306) -}}
{{- $wrong = append $wrong "database.port: must be 3306 when mysql.enabled" -}}
{{- end -}}
{{- if and $v.mysql.enabled (not $v.images.mysql) -}}
{{- $wrong = append $wrong "images.mysql: must be given when mysql.enabled" -}}
{{- end -}}
{{- if and $v.mysql.enabled (not (has $v.mysql.passwordKey (values $v.secret.files))) -}}
{{- $wrong = append $wrong "mysql.passwordKey: must be the key that secret.files.MAUTIC_DB_PASSWORD names" -}}
{{- end -}}
{{- if and $v.redis.enabled (not $v.images.redis) -}}
{{- $wrong = append $wrong "images.redis: must be given when redis.enabled" -}}
{{- end -}}
{{- if and (include "mautic.catchesMail" .) (not $v.images.mail) -}}
{{- $wrong = append $wrong "images.mail: must be given when mail.catcher.enabled" -}}
{{- end -}}
{{- if and $v.redis.enabled $v.redis.host -}}
{{- $wrong = append $wrong "redis.host: must be empty when redis.enabled" -}}
{{- end -}}
{{- if and $v.redis.enabled $v.redis.tls -}}
{{- $wrong = append $wrong "redis.tls: the Redis of redis.enabled speaks plain TCP; TLS needs redis.host" -}}
{{- end -}}
{{- if and (eq $v.sessions.handler "redis") (not $v.redis.enabled) (not $v.redis.host) -}}
{{- $wrong = append $wrong "sessions.handler: redis needs redis.enabled or redis.host" -}}
{{- end -}}
{{- if and (include "mautic.several" .) (eq $v.sessions.handler "files") -}}
{{- $wrong = append $wrong "sessions.handler: must be redis when several web pods run; locks of files that they share are too slow for that" -}}
{{- end -}}
{{- if and $v.web.autoscaling.enabled (gt (int $v.web.autoscaling.minReplicas) (int $v.web.autoscaling.maxReplicas)) -}}
{{- $wrong = append $wrong "web.autoscaling.minReplicas: must not exceed maxReplicas" -}}
{{- end -}}
{{- if and (eq (int $v.web.maxSurge) 0) (eq (int $v.web.maxUnavailable) 0) -}}
{{- $wrong = append $wrong "web.maxSurge: must not be 0 when maxUnavailable is 0, or no rollout can move" -}}
{{- end -}}
{{- /* php-fpm is told 5 seconds after nginx and then has FPM_SHUTDOWN_TIMEOUT, 15 by default. */ -}}
{{- if lt (int $v.web.terminationGracePeriodSeconds) (add (int $v.web.drainSeconds) 25 | int) -}}
{{- $wrong = append $wrong "web.terminationGracePeriodSeconds: must be at least drainSeconds and 25, or requests are cut" -}}
{{- end -}}
{{- if and (eq $v.route.kind "httproute") (not $v.route.gateway.name) -}}
{{- $wrong = append $wrong "route.gateway.name: must be given when route.kind is httproute" -}}
{{- end -}}
{{- with $v.door.oidc.userPoolArn -}}
{{- if or (not $v.door.oidc.clientId) (not $v.door.oidc.domain) -}}
{{- $wrong = append $wrong "door.oidc: needs userPoolArn, clientId and domain" -}}
{{- end -}}
{{- if $v.door.passwordKey -}}
{{- $wrong = append $wrong "door.passwordKey: must be empty when door.oidc is given: the load balancer asks for the login" -}}
{{- end -}}
{{- if ne $v.route.kind "httproute" -}}
{{- $wrong = append $wrong "route.kind: must be httproute when door.oidc is given: the login is a filter of it" -}}
{{- else if not $v.route.gateway.sectionName -}}
{{- $wrong = append $wrong "route.gateway.sectionName: must name the HTTPS listener when door.oidc is given: no other asks for a login" -}}
{{- end -}}
{{- if ne (urlParse $v.site.url).scheme "https" -}}
{{- $wrong = append $wrong "site.url: must be https when door.oidc is given: the load balancer asks for no login without TLS" -}}
{{- end -}}
{{- end -}}
{{- if and (ne $v.route.kind "none") $v.networkPolicy.enabled (not $v.networkPolicy.gateway.namespaces) (not $v.networkPolicy.gateway.cidrs) -}}
{{- $wrong = append $wrong "networkPolicy.gateway: namespaces or cidrs must name the gateway, or nobody reaches the site" -}}
{{- end -}}
{{- $policy := $v.networkPolicy -}}
{{- if and $policy.enabled $v.database.host (not $v.mysql.enabled) (not (include "mautic.serverPeers" (dict "peers" $policy.database "host" $v.database.host))) -}}
{{- $wrong = append $wrong "networkPolicy.database: cidrs or namespaces must name where database.host is, or nobody reaches it" -}}
{{- end -}}
{{- if and $policy.enabled (eq $v.sessions.handler "redis") $v.redis.host (not (include "mautic.serverPeers" (dict "peers" $policy.redis "host" $v.redis.host))) -}}
{{- $wrong = append $wrong "networkPolicy.redis: cidrs or namespaces must name where redis.host is, or nobody reaches it" -}}
{{- end -}}
{{- range $name := list "dns" "database" "redis" -}}
{{- range (get $policy $name).cidrs -}}
{{- if regexMatch "/[0-7]$" . -}}
{{- $wrong = append $wrong (printf "networkPolicy.%s.cidrs: %s is no place; a network of a /8 or smaller is" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $index, $rule := $policy.extraEgress -}}
{{- $where := printf "networkPolicy.extraEgress[%d]" $index -}}
{{- if not $rule.to -}}
{{- $wrong = append $wrong (printf "%s: must say to whom, or everything is open" $where) -}}
{{- end -}}
{{- range $rule.to -}}
{{- if not . -}}
{{- $wrong = append $wrong (printf "%s: must say to whom, or everything is open" $where) -}}
{{- end -}}
{{- with (.ipBlock | default dict).cidr -}}
{{- if regexMatch "/[0-7]$" . -}}
{{- $wrong = append $wrong (printf "%s: %s is no place; the internet is opened by networkPolicy.internet.enabled" $where .) -}}
{{- end -}}
{{- if regexMatch "^(169\\.254\\.|169\\..*/([89]|1[0-5])$|(?i:fe[89ab]|fd00:ec2:))" . -}}
{{- $wrong = append $wrong (printf "%s: %s has link-local addresses; the agent of Pod Identity is opened by networkPolicy.podIdentity" $where .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $job := $v.crons.jobs -}}
{{- if $job -}}
{{- range list "schedule" "command" -}}
{{- if not (get $job .) -}}
{{- $wrong = append $wrong (printf "crons.jobs.%s.%s: must be given" $name .) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $where, $env := dict "env" $v.env "web.fpm.env" $v.web.fpm.env "web.nginx.env" $v.web.nginx.env -}}
{{- range $name, $_ := $env -}}
{{- if regexMatch "PASSWORD|SECRET|TOKEN|DSN" $name -}}
{{- $wrong = append $wrong (printf "%s.%s: may be secret by its name, and belongs in secret.files" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- /* The image's own rules (docker/mautic/php/variables.json), and the values that go before a variable. */ -}}
{{- $rules := .Files.Get "variables.json" | fromJson -}}
{{- range $where, $env := dict "env" $v.env "web.fpm.env" $v.web.fpm.env -}}
{{- range $name, $value := $env -}}
{{- $variable := trimSuffix "_FILE" $name -}}
{{- $rule := get $rules $variable | default dict -}}
{{- if $rule.value -}}
{{- $wrong = append $wrong (printf "%s.%s: has a value of its own, %s" $where $name $rule.value) -}}
{{- else if $rule.instead -}}
{{- $wrong = append $wrong (printf "%s.%s: %s" $where $name $rule.instead) -}}
{{- else if and $rule.pattern (eq $name $variable) (or $value $rule.set) (not (regexMatch $rule.pattern $value)) -}}
{{- $wrong = append $wrong (printf "%s.%s: must %s" $where $name $rule.must) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $where, $files := dict "secret.files" $v.secret.files "secret.migrateFiles" $v.secret.migrateFiles -}}
{{- range $name, $key := $files -}}
{{- $rule := get $rules $name | default dict -}}
{{- if and $key $rule.value (not $rule.file) -}}
{{- $wrong = append $wrong (printf "%s.%s: has a value of its own, %s" $where $name $rule.value) -}}
{{- else if and $key $rule.instead -}}
{{- $wrong = append $wrong (printf "%s.%s: %s" $where $name $rule.instead) -}}
{{- else if and $key $rule.set -}}
{{- $wrong = append $wrong (printf "%s.%s: is not read from a file, and belongs in env" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- if and $v.database.tlsCa $v.mysql.enabled -}}
{{- $wrong = append $wrong "database.tlsCa: must be empty when mysql.enabled, whose server nobody else reaches" -}}
{{- end -}}
{{- if and $v.database.tlsCa (get $v.secret.files "MAUTIC_DB_TLS_CA") -}}
{{- $wrong = append $wrong "database.tlsCa: must be empty when secret.files.MAUTIC_DB_TLS_CA is given" -}}
{{- end -}}
{{- range $where, $labels := dict "labels" $v.labels "web.podLabels" $v.web.podLabels -}}
{{- range $name, $_ := $labels -}}
{{- if regexMatch "^(app\\.kubernetes\\.io|helm\\.sh)/" $name -}}
{{- $wrong = append $wrong (printf "%s.%s: the chart sets it itself" $where $name) -}}
{{- end -}}
{{- end -}}
{{- end -}}
{{- range $name, $worker := $v.workers -}}
{{- if and $worker (not $worker.queues) -}}
{{- $wrong = append $wrong (printf "workers.%s.queues: must name at least one queue" $name) -}}
{{- end -}}
{{- end -}}
{{- if $wrong -}}
{{- fail (printf "\n  %s" (join "\n  " $wrong)) -}}
{{- end -}}
{{- end }}
