# A web server with a certificate of Let's Encrypt, which renews itself. The name
# has to lead to this server before the first deployment: that is what the
# certificate proves.
{
  services.nginx = {
    enable = true;
    recommendedGzipSettings = true;
    recommendedOptimisation = true;
    recommendedProxySettings = true;
    recommendedTlsSettings = true;

    virtualHosts."www.example.org" = {
      enableACME = true;
      forceSSL = true;
      # A program on this server; for files: root = "/srv/www".
      locations."/".proxyPass = "http://127.0.0.1:8080";
    };
  };

  security.acme = {
    acceptTerms = true; # https://letsencrypt.org/repository
    defaults.email = "admin@example.org"; # told when a renewal fails
  };

  # 443 is open already. Port 80 answers the proof, and sends browsers to 443.
  networking.firewall.allowedTCPPorts = [ 80 ];
}
