{{/* Names, labels and images that several manifests share. */}}

{{- define "finetune.name" -}}
{{- printf "%s" (ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name)) | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "finetune.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "finetune.labels" -}}
{{ include "finetune.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end -}}

{{- define "finetune.account" -}}
{{- .Values.serviceAccount.name | default (ternary (include "finetune.name" .) "default" .Values.serviceAccount.create) -}}
{{- end -}}

{{- define "finetune.image" -}}
{{- with .Values.image -}}
{{ .repository }}{{ if .digest }}@{{ .digest }}{{ else }}:{{ .tag | default $.Chart.AppVersion }}{{ end }}
{{- end -}}
{{- end -}}

{{- define "finetune.intakeUrl" -}}
{{- .Values.intake.url | default (printf "http://%s.%s:%v" (include "finetune.name" .) .Release.Namespace .Values.intake.port) -}}
{{- end -}}
