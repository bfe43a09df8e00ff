{{- define "rayon.name" -}}
{{- ternary .Release.Name (printf "%s-%s" .Release.Name .Chart.Name) (contains .Chart.Name .Release.Name) | trunc 63 | trimSuffix "-" }}
{{- end }}

{{- define "rayon.selector" -}}
app.kubernetes.io/name: {{ .Chart.Name }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "rayon.labels" -}}
{{ include "rayon.selector" . }}
app.kubernetes.io/version: {{ .Values.image.tag | default .Chart.AppVersion | trunc 63 | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- end }}

{{- define "rayon.account" -}}
{{ .Values.serviceAccount.name | default (ternary (include "rayon.name" .) "default" .Values.serviceAccount.create) }}
{{- end }}

{{- define "rayon.image" -}}
{{- $repository := required "image.repository is empty: name the image that was pushed, such as registry.example.com/rayon/app" .Values.image.repository -}}
{{- if .Values.image.digest }}{{ $repository }}@{{ .Values.image.digest }}{{ else }}{{ $repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}{{ end }}
{{- end }}

{{- /* What cannot work is said before anything is installed. */ -}}
{{- define "rayon.check" -}}
{{- $text := required "experiment is empty: helm install --set-file experiment=configs/production.yaml" .Values.experiment -}}
{{- $experiment := fromYaml $text -}}
{{- if hasKey $experiment "Error" }}{{ fail (printf "experiment is no YAML: %s" $experiment.Error) }}{{ end -}}
{{- $photos := dig "app" "photos" "" $experiment -}}
{{- if not (hasPrefix "s3://" $photos) }}{{ fail "app.photos of the experiment is no s3:// address: photos would be lost with the pod. Write s3://bucket/prefix there." }}{{ end -}}
{{- $several := or .Values.autoscaling.enabled (gt (int .Values.replicas) 1) -}}
{{- if and .Values.ingress.enabled $several (not .Values.ingress.sticky) }}{{ fail "several pods behind an ingress: visitors would be logged out whenever they meet another pod. Set your controller's annotations for sticky sessions in ingress.annotations and say ingress.sticky=true, or run one pod." }}{{ end -}}
{{- if and .Values.ingress.enabled .Values.networkPolicy.enabled (eq (toJson .Values.networkPolicy.from) "[{\"podSelector\":{}}]") }}{{ fail "the network policy lets only the release's own namespace in: name the ingress controller's namespace in networkPolicy.from." }}{{ end -}}
{{- end }}
