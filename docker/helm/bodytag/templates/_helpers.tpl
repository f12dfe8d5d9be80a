{{/* What all processes share: the parts of a pod that differ in the role alone. */}}
{{- define "bodytag.labels" -}}
app.kubernetes.io/name: bodytag
app.kubernetes.io/instance: {{ .Release.Name }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
{{- end }}

{{- define "bodytag.claim" -}}
{{ .Values.spool.existingClaim | default (printf "%s-spool" .Release.Name) }}
{{- end }}

{{- define "bodytag.environment" -}}
- name: BODYTAG_DATABASE_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.secret | quote }}, key: database-url}}
- name: BODYTAG_BROKER_URL
  valueFrom: {secretKeyRef: {name: {{ .Values.secret | quote }}, key: broker-url}}
{{- end }}

{{- define "bodytag.container" -}}
imagePullPolicy: {{ .Values.image.pullPolicy }}
env:
  {{- include "bodytag.environment" . | nindent 2 }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: {drop: [ALL]}
volumeMounts:
  - {name: config, mountPath: /etc/bodytag, readOnly: true}
  - {name: spool, mountPath: /var/lib/bodytag/spool}
  - {name: tmp, mountPath: /tmp}
{{- end }}

{{- define "bodytag.pod" -}}
automountServiceAccountToken: false
securityContext:
  runAsNonRoot: true
  runAsUser: 11112
  runAsGroup: 11112
  fsGroup: 11112
  fsGroupChangePolicy: OnRootMismatch
  seccompProfile: {type: RuntimeDefault}
volumes:
  - name: config
    configMap: {name: {{ .Release.Name }}-config}
  - name: spool
    persistentVolumeClaim: {claimName: {{ include "bodytag.claim" . }}}
  - name: tmp
    emptyDir: {}
{{- end }}
